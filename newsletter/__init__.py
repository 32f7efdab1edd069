"""A self-hosted newsletter delivery service: feeds in, one digest per reader and period out.

The floors of the house, from the doors (`cli`, `web`) down to the ground (`errors`), stand in
`docs/architecture.md`; a room imports only what is below it.
"""
