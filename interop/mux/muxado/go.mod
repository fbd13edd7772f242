module towline.dev/interop/mux/muxado

go 1.23

require (
	github.com/inconshreveable/muxado v0.0.0-20160802230925-fc182d90f26e
	golang.ngrok.com/muxado/v2 v2.0.2
	towline.dev/interop/mux/play v0.0.0
)

replace towline.dev/interop/mux/play => ../play
