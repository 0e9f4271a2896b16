"""Reads numbers of several digits in an image.

Pipeline: image → `Page`s (views) → `Writing` → `TextLine` → `LineCrop` → the line reader's
`Proposal`s → `verify` → `Symbol`s → `LineReading` → `PageReading` → `Recognition`
(`read_lines`). Without the line reader, `recognize` splits the ink itself.

Glossary:

- view: the image, the sheet of paper in it, or the image with flattened illumination.
- page: a view, deskewed, and the writing in it.
- writing: the ink that may be digits, without ruled lines, frames and specks.
- component: 8-connected pixels of ink; group: the components that must belong to one digit.
- digit height: of a typical digit of the page or line; the unit of constants named _HEIGHTS.
- proposal: one symbol that the line reader (CTC) proposes.
- word: the symbols between two wide gaps of a line; it is read again if one is doubtful.
- symbol: one place of a line: a verified proposal, or left-over ink, which has no proposal.
- piece: the ink that is cut out for one symbol; clear: it stands apart, and the digit network is
  confident; seam: the cheapest path between two symbols.
- other: a symbol that is not a digit, such as a plus; unknown: the label `?` of such ink.
- accepted: a symbol that is certain enough; doubtful: one that may be a digit and is not accepted.
- flag: the upstroke of a handwritten 1.
- preprinted: a frame, bar or comb that is printed around digits.
"""
