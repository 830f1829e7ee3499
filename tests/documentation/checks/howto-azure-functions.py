from function_app import shop

assert shop(None) == "bought"
