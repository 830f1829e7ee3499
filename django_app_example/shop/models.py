"""Products, and orders of them."""

from __future__ import annotations

import uuid

from django.db import models
from django.urls import reverse


class Product(models.Model):
    """Something to buy."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    description = models.TextField(blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the address of its page."""
        return reverse("product", args=[self.slug])


def new_reference() -> str:
    """Return the name of an order, not to be guessed."""
    return uuid.uuid4().hex[:12]


class Order(models.Model):
    """What one customer bought at once."""

    reference = models.SlugField(unique=True, default=new_reference, editable=False)
    tenant = models.CharField(max_length=40)
    email = models.EmailField()
    paid = models.BooleanField(default=False)
    confirmed_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-pk")

    def __str__(self) -> str:
        return self.reference

    def get_absolute_url(self) -> str:
        """Return the address of its page."""
        return reverse("order", args=[self.reference])


class OrderLine(models.Model):
    """One product of an order, at the price of that day."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveSmallIntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product_id}"
