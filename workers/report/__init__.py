"""``report.html``: one page for each trained run, made for looking at its photographs."""
