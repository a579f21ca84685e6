module localnode/opentelemetry-operator

go 1.25.0

require github.com/open-telemetry/opentelemetry-operator v0.148.0 // indirect
