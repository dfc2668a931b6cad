"""Test doubles for your own tests: a model endpoint and agents that behave as you script them, over real HTTP on a free port.

`model_server.ModelServer` speaks OpenAI's protocol, `agent_server.AgentServer` Loopwright's agent contract, and `local_model` serves a
real small language model. They are documented in docs/testing.md.
"""
