// Package archive has the tests of the archive that need whole machines: a site
// that is lost with everything on it, a store that fails while applications
// write, a database restored to a moment.
//
// The store outlives the machine. Where it is to go wrong, an S3 server runs outside, and
// every machine reaches it through a proxy of the test on its own loopback; where the
// machine's work is measured, the server runs on the machine, over one folder outside.
//
// A diary writes to a volume, and remembers what every file was at each second: what is
// restored is compared with that.
package archive
