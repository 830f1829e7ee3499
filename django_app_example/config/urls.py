"""Addresses of the shop."""

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.catalogue, name="catalogue"),
    path("products/<slug:slug>/", views.product, name="product"),
    path("products/<slug:slug>/stock/", views.stock, name="stock"),
    path("products/<slug:slug>/quotes/", views.quotes, name="quotes"),
    path("products/<slug:slug>/quotes.json", views.quotes_json, name="quotes_json"),
    path("products/<slug:slug>/buy/", views.buy, name="buy"),
    path("checkout/", views.checkout, name="checkout"),
    path("orders/<slug:reference>/", views.order, name="order"),
    path("orders.csv", views.export, name="export"),
    path("activity/", views.activity, name="activity"),
    path("reports/<int:year>/<int:month>/", views.report, name="report"),
    path("webhooks/payment/", views.payment, name="payment"),
]
