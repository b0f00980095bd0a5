"""Wire messages and topology constants: what other processes and other systems see.

Citations in the code, such as ``canvas/semantics.md 7.2``, are relative to this folder (README.md).

Versions. Every contract has a number, 1 so far. It stands in the body where the body is ours (commands and requests:
``version``; a request without one means 1) and beside it where the form is Canvas's: directory events may carry
``metadata.version``, events go out with the header ``contract-version``.

- A new optional key or header keeps the number: readers ignore what they do not know.
- A key that goes, becomes required or changes its meaning gives the contract a new number.
- A number is read one release before it is written, and for one release after: so a release and the one before
  it understand each other both ways, and a release is rolled out process by process.
- Any other number goes to the dead letters, named in the reason.
"""
