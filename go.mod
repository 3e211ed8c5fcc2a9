module github.com/greenroom-go/greenroom

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
	github.com/puzpuzpuz/xsync/v3 v3.5.1 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
