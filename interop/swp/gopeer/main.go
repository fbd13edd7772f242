// One end of sessions of the sliding-window protocol, written from docs/wire/swp.md alone.
package main

import "towline.dev/interop/swp/play"

func main() { play.Main(start) }
