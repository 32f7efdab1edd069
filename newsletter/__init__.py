"""A self-hosted newsletter delivery service: feeds in, one digest per reader and period out.

`docs/architecture.md` lists the packages in layers, from `cli` and `web` down to `errors`. A
package imports only packages of lower layers.
"""
