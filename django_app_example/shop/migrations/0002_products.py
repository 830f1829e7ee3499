"""Put something on the shelf."""

from django.db import migrations

PRODUCTS = [
    (
        "kyoto-kettle",
        "Kyoto kettle",
        "Cast iron, 0.8 litres. Keeps its heat for an hour.",
        "64.00",
        40,
    ),
    ("sencha", "Sencha, first flush", "Steamed green tea from Uji, 100 g.", "18.50", 400),
    ("assam", "Assam, second flush", "Malty black tea for milk or none, 250 g.", "14.20", 300),
    ("thermometer", "Pocket thermometer", "80 degrees for green, 95 for black.", "21.90", 75),
    ("linen-filter", "Linen filter", "Sewn by hand; lasts longer than the kettle.", "6.40", 900),
]


def add_products(apps, schema_editor):
    """Add each product that is not there yet."""
    product = apps.get_model("shop", "Product")
    for slug, name, description, price, stock in PRODUCTS:
        product.objects.get_or_create(
            slug=slug,
            defaults={"name": name, "description": description, "price": price, "stock": stock},
        )


class Migration(migrations.Migration):
    """A shop to try things with has things to buy."""

    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(add_products, migrations.RunPython.noop)]
