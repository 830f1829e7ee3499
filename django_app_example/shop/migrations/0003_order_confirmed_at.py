from django.db import migrations, models


class Migration(migrations.Migration):
    """An order knows whether its customer was written to."""

    dependencies = [("shop", "0002_products")]
    operations = [
        migrations.AddField(
            model_name="order",
            name="confirmed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
