"""The registry from the terminal: `dabt versions`, `promote`, `rollback`, `traffic`, `keys`. Each file is a command."""
