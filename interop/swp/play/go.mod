module towline.dev/interop/swp/play

go 1.23
