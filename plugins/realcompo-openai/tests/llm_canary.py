"""The key of the tests here. It may stand in nothing that they write."""

CANARY = "sk-canary-5c1f9be0d7a84e62"
