"""Contracts and the chains they live on: an embedded one, and any that speaks Ethereum's JSON-RPC."""
