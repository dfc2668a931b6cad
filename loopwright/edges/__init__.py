"""Where Loopwright touches the world: Kafka, HTTP, models, processes. The only modules that import a client library."""
