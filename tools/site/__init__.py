"""The documentation as one site of plain files: `hatch run docs`.

MkDocs makes the pages that people wrote, pdoc those of the public names. The pages stand in the
repository where they are read: in `docs/`, and beside each package.
"""
