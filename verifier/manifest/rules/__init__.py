"""The rules, one module or folder for each prefix of their ids."""
