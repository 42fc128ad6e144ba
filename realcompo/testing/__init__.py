"""For authors of plugins: analytic toy branches and the conformance kit. See docs/write-a-plugin.md."""
