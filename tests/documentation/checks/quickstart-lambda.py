from handler import handler as decorated


class LambdaContext:
    aws_request_id = "4c64c3b0"
    function_name = "orders"

    def get_remaining_time_in_millis(self):
        return 3000


assert decorated({}, LambdaContext()) == {"request_id": "4c64c3b0"}
assert handler({}, LambdaContext()) == {"statusCode": 204}

import warnings

# Mangum asks for a loop where there is none yet, which Python 3.12 and 3.13 deprecate.
warnings.filterwarnings("ignore", "There is no current event loop", DeprecationWarning)
import web

answer = web.handler(
    {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"host": "example.org"},
        "requestContext": {
            "http": {"method": "GET", "path": "/", "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1"},
        },
        "isBase64Encoded": False,
    },
    LambdaContext(),
)
assert answer["statusCode"] == 404
assert answer["headers"]["x-request-id"]
