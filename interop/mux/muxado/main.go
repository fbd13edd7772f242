// The multiplexers inconshreveable/muxado and ngrok's fork of it.
package main

import "towline.dev/interop/mux/play"

func main() {
	play.Main(original(), fork())
}
