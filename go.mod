module myriad

go 1.26
