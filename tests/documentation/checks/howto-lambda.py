import orders
import prices


class LambdaContext:
    aws_request_id = "4c64c3b0"

    def get_remaining_time_in_millis(self):
        return 3000


assert orders.handler({"order": 7}, LambdaContext()) == {"order": 7, "request_id": "4c64c3b0"}
assert orders.aws_lambda.install("extension") == "return"  # not on Lambda

import asyncio

assert asyncio.run(prices.handler({}, LambdaContext())) == {"request_id": "4c64c3b0"}
