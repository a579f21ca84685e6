module localnode/keda-manifests

go 1.25.0

require github.com/kedacore/keda/v2 v2.21.0 // indirect
