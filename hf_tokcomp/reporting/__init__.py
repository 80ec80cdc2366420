"""How results are shown: tables in the terminal, pages of Markdown, and where a number comes from."""
