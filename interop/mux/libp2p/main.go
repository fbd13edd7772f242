// The multiplexers libp2p/go-yamux v3, v4 and v5.
package main

import "towline.dev/interop/mux/play"

func main() {
	play.Main(v3(), v4(), v5())
}
