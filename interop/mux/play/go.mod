module towline.dev/interop/mux/play

go 1.23
