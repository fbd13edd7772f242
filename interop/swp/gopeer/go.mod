module towline.dev/interop/swp/gopeer

go 1.23

require (
	github.com/nats-io/nats.go v1.37.0
	golang.org/x/crypto v0.31.0
	towline.dev/interop/swp/play v0.0.0
)

require (
	github.com/klauspost/compress v1.17.2 // indirect
	github.com/nats-io/nkeys v0.4.7 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/sys v0.28.0 // indirect
)

replace towline.dev/interop/swp/play => ../play
