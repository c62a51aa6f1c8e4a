// Package archive has the tests of the archive that need whole machines: a site
// that is lost with everything on it, a store that fails while applications
// write, a database restored to a moment.
//
// Every machine has an S3 server of its own, on its loopback, over one folder
// outside: the store outlives the machine.
package archive
