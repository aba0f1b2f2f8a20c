module nubium.dev/smd-extract

go 1.24
