"""What DNS says about the sender and its relays, judged: a file for each subject.

Pure: a look-up is an argument; findings out.
"""
