module towline.dev/interop/mux/libp2p

go 1.23

require (
	github.com/libp2p/go-yamux/v3 v3.1.2
	github.com/libp2p/go-yamux/v4 v4.0.2
	github.com/libp2p/go-yamux/v5 v5.1.0
	towline.dev/interop/mux/play v0.0.0
)

require github.com/libp2p/go-buffer-pool v0.0.2 // indirect

replace towline.dev/interop/mux/play => ../play
