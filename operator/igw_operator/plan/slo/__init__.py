"""The SLO rules of a gateway: what is recorded, and when somebody is called.

Sums are recorded and ratios are made of sums, so every budget is weighted by traffic. The
windows and factors are data in ``api.windows``; the reasons behind each expression stand
beside it, and each has a behaviour test that runs in Prometheus itself (promtool).
"""
