"""The style sheet of the report page."""

STYLE = """
:root{color-scheme:light dark;--bg:#f5f6f9;--card:#fff;--ink:#171a21;--muted:#626a79;--line:#e2e5ec;
--accent:#5b5bd6;--soft:#ececfb;--good:#167a4c;--good-soft:#dff5e9;--warn:#96600a;--warn-soft:#fdf0d5;
--shadow:0 1px 2px rgb(20 24 40/.06),0 4px 16px rgb(20 24 40/.05)}
@media(prefers-color-scheme:dark){:root{--bg:#0f1117;--card:#181b23;--ink:#e8eaf0;--muted:#98a1b2;
--line:#2a2f3b;--accent:#9d9dfa;--soft:#262848;--good:#6fdca6;--good-soft:#143326;--warn:#f2c274;
--warn-soft:#3a2c12;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1240px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:27px;line-height:1.2;letter-spacing:-.02em;margin:0}
h2{font-size:18px;letter-spacing:-.01em;margin:0 0 12px}
h3{font-size:13px;font-weight:500;color:var(--muted);margin:0 0 6px;display:flex;gap:8px;
justify-content:space-between}
h3 b{color:var(--ink);font-variant-numeric:tabular-nums}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
.sub,.note,.empty{color:var(--muted);margin:4px 0 0}.note{font-size:13px}
.empty{margin:0;text-align:center;padding:20px}
.head{display:flex;justify-content:space-between;align-items:flex-start;gap:16px;flex-wrap:wrap}
.badge{font-size:13px;font-weight:600;padding:4px 12px;border-radius:99px;white-space:nowrap;
background:var(--warn-soft);color:var(--warn)}
.badge.good{background:var(--good-soft);color:var(--good)}
.badge.busy{background:var(--soft);color:var(--accent)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(120px,1fr));gap:12px;margin:22px 0}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:12px;
box-shadow:var(--shadow)}
.tile{padding:12px 16px}
.tile b{display:block;font-size:22px;line-height:1.25;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.tile span{color:var(--muted);font-size:13px}
.card{padding:20px;margin:0 0 20px;scroll-margin-top:16px}
.count{color:var(--muted);font-weight:500}
.chips{display:flex;flex-wrap:wrap;gap:6px;margin:0 0 16px}
.chip{background:var(--soft);color:var(--accent);border-radius:99px;padding:2px 11px;font-size:13px;
overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 4px 20px;color:var(--muted);
font-size:13px}
.part{display:inline-flex;align-items:center;gap:6px}
.part i{width:12px;height:12px;border-radius:4px;border:1px solid rgb(128 128 128/.35)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:16px 24px;
margin:0 0 20px}
.chart svg{display:block;width:100%;height:64px;border-bottom:1px solid var(--line)}
.chart rect{fill:var(--accent);opacity:.75}
.chart line{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:3 3}
.chart p{display:flex;justify-content:space-between;margin:4px 0 0;font-size:12px;
color:var(--muted);font-variant-numeric:tabular-nums}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:18px}
figure{margin:0;min-width:0}
.triple{display:grid;grid-template-columns:repeat(3,1fr);gap:5px}
.triple img,.missing{display:block;width:100%;aspect-ratio:1;object-fit:contain;border-radius:8px;
background:var(--line)}
.triple .mask{image-rendering:pixelated}
.missing{display:grid;place-items:center;color:var(--muted)}
figcaption{display:flex;flex-direction:column;margin-top:5px;font-size:12px}
figcaption b,figcaption span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
figcaption b{font-weight:500}figcaption span{color:var(--muted);font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:7px 12px 7px 0;border-bottom:1px solid var(--line);vertical-align:top;
overflow-wrap:anywhere;min-width:90px}
tr:last-child td,tr:last-child th{border-bottom:0}
thead th{color:var(--muted);font-weight:500;font-size:13px}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.facts th{color:var(--muted);font-weight:500;width:240px}
.facts td{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13px}
@media print{.card,.tile{box-shadow:none;break-inside:avoid}}
"""
