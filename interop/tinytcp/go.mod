module towline.dev/interop/tinytcp

go 1.23
