#include "analysis/report_style.hpp"

namespace factflow {

const char* const kReportStyle = R"css(
:root { --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --wash: #f6f8fa; --accent: #0b57a4;
  --good: #1a7f37; --bad: #b42318; --open: #7a5d00; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: #fff; line-height: 1.5;
  font: 16px/1.55 "Source Sans 3", "Segoe UI", system-ui, -apple-system, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header h1 { font-size: 2.1rem; line-height: 1.15; margin: 0 0 .35rem; letter-spacing: -.01em; }
header p { margin: .2rem 0; color: var(--soft); }
nav { margin: 1.1rem 0 0; padding: .6rem 0; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line);
  display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .95rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
h2 { font-size: 1.45rem; margin: 2.6rem 0 .8rem; letter-spacing: -.005em; }
h3 { font-size: 1.12rem; margin: 2rem 0 .5rem; }
p, li { max-width: 48rem; }
ul.findings { list-style: none; margin: 0; padding: 0; }
ul.findings li { padding: .5rem .9rem; border-left: 4px solid var(--accent); margin: 0 0 .6rem; background: var(--wash);
  max-width: none; }
.notice { border-left: 3px solid #bf8700; background: #fff8e5; padding: .55rem .9rem; margin: .8rem 0; }
.claim { border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem; margin: 0 0 .7rem; break-inside: avoid; }
.claim p { margin: .1rem 0; max-width: none; }
.claim .rule { color: var(--soft); font-size: .9rem; }
.claim details { font-size: .9rem; margin-top: .3rem; }
.verdict { font-weight: 600; white-space: nowrap; }
.holds { color: var(--good); } .fails { color: var(--bad); } .open { color: var(--open); }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .87rem; min-width: 60%; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid var(--ink); padding: .3rem .7rem .3rem 0; white-space: nowrap; }
td { border-bottom: 1px solid var(--line); padding: .26rem .7rem .26rem 0; vertical-align: top; white-space: nowrap; }
td:last-child { white-space: normal; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.weak { color: var(--soft); }
sub { line-height: 0; }
.bar { display: inline-block; height: .62em; background: #c9594b; border-radius: 1px; vertical-align: baseline; }
.barbox { display: inline-block; width: 5rem; text-align: left; }
figure { margin: 1rem 0 1.6rem; break-inside: avoid; }
figure img { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .3rem; max-width: 52rem; }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: .4rem 1.6rem; }
.maps figure { margin: .6rem 0; }
p.prompt { max-width: none; margin: 1.2rem 0 .4rem; break-after: avoid; }
.prompt { background: var(--wash); padding: .5rem .9rem; border-radius: 6px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: .6rem 0; font-size: .95rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--wash); padding: .8rem 1rem; overflow-x: auto; font-size: .82rem; border-radius: 6px; }
code { overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) {
  body { font-size: 15px; } main { padding: 1.2rem .9rem 3rem; } header h1 { font-size: 1.6rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .45rem; }
  .wide img { min-width: 34rem; } .wide { overflow-x: auto; }
}
@page { size: A4; margin: 16mm 15mm; }
@media print {
  body { font-size: 10pt; } main { max-width: none; padding: 0; } nav { display: none; }
  a { color: inherit; } h2, h3, h3 + p { break-after: avoid; } tr { break-inside: avoid; } .scroll { overflow: visible; }
  .maps { grid-template-columns: 1fr 1fr; } ul.findings li, .notice, .prompt, pre { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)css";

}  // namespace factflow
