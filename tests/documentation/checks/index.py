import settings
from django.utils.module_loading import import_string

assert handler({}, None) == {"statusCode": 200}
assert [import_string(name) for name in settings.MIDDLEWARE]
