module celeriac.example/parcel

go 1.19
