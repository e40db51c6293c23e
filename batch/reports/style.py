"""The style sheet of the report page."""

STYLE = """
:root{color-scheme:light dark;--bg:#f5f6f9;--card:#fff;--ink:#171a21;--muted:#5c6473;--line:#e2e5ec;
--accent:#4f4fd0;--fill:#7c7ce6;--soft:#ececfb;--good:#167a4c;--good-soft:#dff5e9;--warn:#8a5606;
--warn-soft:#fdf0d5;--bad:#c2361c;--bad-soft:#fde5df;
--shadow:0 1px 2px rgb(20 24 40/.06),0 4px 16px rgb(20 24 40/.05)}
@media(prefers-color-scheme:dark){:root{--bg:#0f1117;--card:#181b23;--ink:#e8eaf0;--muted:#9aa3b4;
--line:#2a2f3b;--accent:#a9a9ff;--fill:#7d7df0;--soft:#262848;--good:#6fdca6;--good-soft:#143326;
--warn:#f2c274;--warn-soft:#3a2c12;--bad:#ff8f75;--bad-soft:#46201a;--shadow:none}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1280px;margin:0 auto;padding:36px 20px 64px}
h1{font-size:28px;line-height:1.2;letter-spacing:-.02em;margin:0}
h2{font-size:18px;letter-spacing:-.01em;margin:0 0 12px;overflow-wrap:anywhere}
h3{font-size:14px;font-weight:600;margin:18px 0 8px;overflow-wrap:anywhere}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13px}
.sub,.note,.empty{color:var(--muted);margin:4px 0 0;overflow-wrap:anywhere}.note{font-size:13px}
.empty{margin:0;text-align:center;padding:20px}
.nowrap{white-space:nowrap}
.head{display:flex;justify-content:space-between;align-items:baseline;gap:4px 16px;flex-wrap:wrap}
header .head{align-items:flex-start}
.badge{font-size:13px;font-weight:600;padding:4px 12px;border-radius:99px;white-space:nowrap;
background:var(--warn-soft);color:var(--warn)}
.badge.good{background:var(--good-soft);color:var(--good)}
.badge.busy{background:var(--soft);color:var(--accent)}
.notice{background:var(--warn-soft);color:var(--warn);border-radius:10px;padding:10px 14px;
margin:16px 0 0;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(120px,1fr));gap:12px;margin:22px 0}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:12px;
box-shadow:var(--shadow)}
.tile{padding:12px 16px}
.tile b{display:block;font-size:22px;line-height:1.25;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.tile span{color:var(--muted);font-size:13px}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 4px 18px;font-size:14px}
.card{padding:20px;margin:0 0 20px;scroll-margin-top:16px}
.count{color:var(--muted);font-weight:500}
.what{display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:12px 20px;
margin:0 0 16px}
.what div{min-width:0}
dt{color:var(--muted);font-size:13px}
dd{margin:0;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:4px 24px;justify-content:space-between;margin:0 0 12px;
color:var(--muted);font-size:13px}
.legend b{font-weight:500;color:var(--ink)}
.parts{display:flex;flex-wrap:wrap;gap:2px 14px}
.part{display:inline-flex;align-items:center;gap:6px}
.part i{width:12px;height:12px;border-radius:4px;border:1px solid rgb(128 128 128/.35)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,380px),1fr));
gap:20px 18px}
figure{margin:0;min-width:0;break-inside:avoid}
.row{display:grid;grid-template-columns:repeat(4,1fr);gap:4px}
.row img,.example img,.missing{display:block;width:100%;height:auto;aspect-ratio:1;
object-fit:contain;border-radius:7px;background:var(--line)}
.row .mask,.row .changed{image-rendering:pixelated}
.missing{display:grid;place-items:center;color:var(--muted)}
figcaption{display:flex;flex-wrap:wrap;gap:0 12px;margin-top:5px;font-size:12px}
figcaption b,figcaption span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;
max-width:100%}
figcaption b{font-weight:600;flex-basis:100%}
figcaption span{color:var(--muted);font-variant-numeric:tabular-nums}
.examples{display:grid;grid-template-columns:repeat(auto-fill,minmax(120px,1fr));gap:14px}
.example figcaption span{white-space:normal;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:7px 14px 7px 0;border-bottom:1px solid var(--line);
vertical-align:middle;font-weight:400}
td{overflow-wrap:break-word}
tr:last-child td,tr:last-child th{border-bottom:0}
thead th{color:var(--muted);font-weight:500;font-size:13px;vertical-align:bottom}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.num:last-child{padding-right:0}
.facts th{color:var(--muted);width:240px}
.facts td{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13px;
overflow-wrap:anywhere}
summary{cursor:pointer}summary h2{display:inline;margin:0}details[open] summary{margin-bottom:12px}
.chart{min-width:0;break-inside:avoid}
.chart h3{margin:0 0 4px}
.chart svg{display:block;width:100%;border-bottom:1px solid var(--line);overflow:visible}
.chart rect{fill:var(--fill)}.chart rect.out{fill:var(--bad)}
.chart line{stroke:var(--ink);stroke-width:1.5;vector-effect:non-scaling-stroke}
.chart line.gate{stroke:var(--bad);stroke-dasharray:4 3}
.ridge th,.ridge td{padding-top:3px;padding-bottom:3px;border:0}
.ridge tbody th{max-width:260px;min-width:110px;overflow-wrap:anywhere;font-size:13px}
.ridge .plot{width:55%;min-width:200px}
.axis{display:flex;justify-content:space-between;font-size:12px;color:var(--muted);
font-variant-numeric:tabular-nums}
.numbers{display:flex;flex-wrap:wrap;gap:0 18px;margin:2px 0 0;font-size:13px;color:var(--muted);
font-variant-numeric:tabular-nums}.numbers b{color:var(--ink);font-weight:500}
.chart.wide{grid-column:1/-1}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));
gap:26px 36px;margin:0 0 8px}
.bar{display:block;min-width:80px;height:8px;border-radius:4px;background:var(--line)}
.bar i{display:block;height:100%;border-radius:4px;background:var(--fill)}
.heat{display:inline-block;min-width:44px;padding:1px 6px;border-radius:5px;text-align:right;
background:color-mix(in srgb,var(--fill) var(--heat),transparent)}
.inside .heat{outline:2px solid var(--accent);outline-offset:-2px}
.on{color:var(--accent);font-weight:600}.off{color:var(--muted)}
.state{font-size:12px;font-weight:600;padding:1px 9px;border-radius:99px;
background:var(--warn-soft);color:var(--warn)}
.state.failed,.state.quarantined{background:var(--bad-soft);color:var(--bad)}
@media(max-width:600px){main{padding:20px 12px 40px}.card{padding:14px}
.scroll td:nth-child(n+3):not(.num){min-width:8.5em}
.row{grid-template-columns:repeat(2,1fr)}.what{grid-template-columns:repeat(2,1fr)}
.grid{grid-template-columns:1fr}.facts th{width:auto}}
@media print{body{background:#fff}.card,.tile{box-shadow:none}.tile,figure,tr{break-inside:avoid}
nav{display:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
