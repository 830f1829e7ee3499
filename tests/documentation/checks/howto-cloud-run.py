from main import handler

assert handler(None) == "done"
