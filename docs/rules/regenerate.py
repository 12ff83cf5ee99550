"""Write the pages of this directory from the rules."""  # noqa: INP001 - a script, no package

from pathlib import Path

from verifier.report.rule_docs import rule_pages

if __name__ == "__main__":
    for name, text in rule_pages().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")
