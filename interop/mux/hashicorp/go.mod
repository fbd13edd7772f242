module towline.dev/interop/mux/hashicorp

go 1.23

require (
	github.com/hashicorp/yamux v0.1.2
	towline.dev/interop/mux/play v0.0.0
)

replace towline.dev/interop/mux/play => ../play
