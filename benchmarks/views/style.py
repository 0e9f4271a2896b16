"""The style sheet of the HTML report: dark, light, on a phone and on paper."""

CSS = """\
:root { --ink: #1c2430; --soft: #5b6675; --line: #d8dee6; --page: #ffffff; --panel: #f5f7fa;
  --accent: #1769aa; --good: #14733b; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa7b7; --line: #35404e; --page: #12171e; --panel: #1b222c;
    --accent: #66b2f0; --good: #6ccf8e; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { margin: 0; font-size: 1.7rem; }
h2 { margin: 0 0 .6rem; font-size: 1.15rem; }
h3 { margin: 1rem 0 .4rem; font-size: 1rem; }
section { margin-top: 2.2rem; }
p { color: var(--soft); max-width: 75ch; margin: .6rem 0; }
p.lead { color: var(--ink); }
.passed { color: var(--good); font-weight: 600; }
.failed { color: var(--bad); font-weight: 600; }
.absent { color: var(--soft); }
ul.failures { color: var(--bad); overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.wide td:first-child, .wide th:first-child { position: sticky; left: 0; background: var(--page); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .45rem; text-align: right; font-size: .87rem; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: .8rem; vertical-align: bottom; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
td:first-child { font-weight: 600; }
.reasons th, .reasons td { text-align: left !important; }
.reasons td { white-space: normal; }
.reasons td:first-child { white-space: nowrap; }
svg { max-width: 100%; height: auto; display: block; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--line); fill: none; }
svg .bars { fill: var(--accent); opacity: .75; }
svg .mark { stroke: var(--ink); stroke-width: 2; }
svg .far { stroke: var(--bad); }
svg .dot { fill: var(--accent); }
svg .curve { fill: none; stroke: var(--accent); stroke-width: 1.8; opacity: .75; }
svg .style1 { stroke: var(--good); stroke-dasharray: 5 3; }
svg .style2 { stroke: var(--bad); stroke-dasharray: 2 3; }
svg .style3 { stroke: var(--soft); stroke-dasharray: 9 3; }
svg.key { display: inline-block; vertical-align: middle; }
svg .soft { opacity: .7; }
svg .whisker { stroke: var(--accent); stroke-width: 1.5; opacity: .6; }
.wide > svg { min-width: 620px; }
.row { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
.row figure { margin: 0; max-width: 100%; }
figcaption { font-size: .8rem; color: var(--soft); line-height: 1.35; text-align: center; }
.flips { display: flex; flex-wrap: wrap; gap: .8rem; }
.flips figure { margin: 0; width: 104px; padding: 6px; border: 2px solid transparent;
  border-radius: 6px; background: var(--panel); }
.flips img { width: 84px; height: 84px; image-rendering: pixelated; display: block;
  margin: 0 auto 4px; }
.flips figure.alarm { border-color: var(--bad); }
details { margin: .4rem 0; }
summary { cursor: pointer; }
.confusion { margin: .5rem 0; }
.confusion th, .confusion td { text-align: center !important; min-width: 2.6rem; padding: .25rem;
  font-weight: 400; }
.confusion .right { background: color-mix(in srgb, var(--good) 16%, transparent); }
.confusion .wrong { color: inherit;
  background: color-mix(in srgb, var(--bad) calc(var(--share) * .6), transparent); }
@media (max-width: 640px) { main { padding: 1rem .7rem 3rem; } body { font-size: 14px; } }
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --page: #fff; --panel: #fff;
    --accent: #1769aa; --good: #14733b; --bad: #b3261e; }
  @page { size: A4 landscape; margin: 12mm; }
  body { font-size: 9pt; } main { max-width: none; padding: 0; } section { margin-top: 1.4rem; }
  th, td { padding: .15rem .35rem; font-size: 8pt; white-space: normal; }
  svg { max-height: 85mm; } .wide { overflow: visible; } .wide > svg { min-width: 0; }
  figure, tr, svg { break-inside: avoid; } h2 { break-after: avoid; } }
"""
