"""From a sentence to conditions; files and suites of layouts."""
