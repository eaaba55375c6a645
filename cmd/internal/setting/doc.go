// Package setting is how every command of offhook gets its configuration: each
// setting is a flag and a variable of the environment, the flag beats the
// variable, the variable beats the default.
//
// The [Catalogue] lists every setting of the product once. A command binds those
// it uses to the fields of its packages' Config structs and calls [Set.Resolve]
// before anything starts:
//
//	c := setting.NewCatalogue()
//	set := setting.New(cmd.Flags(), c, os.Environ())
//	c.NATSURL.Bind(set, &cfg.Bus.URL)
//	c.InternalListen.Default("127.0.0.1:8081").Bind(set, &cfg.Listen)
//	…
//	if err := set.Resolve(); err != nil { return err }
//
// Rules that hold for all of them:
//
//   - The flag --nats-url is the variable OFFHOOK_NATS_URL. A variable that is set
//     but empty counts as not set; a flag that is given as empty is empty.
//   - A variable that starts with OFFHOOK_ and is not in the catalogue is an error
//     in every command. One that only other commands use is fine.
//   - Secrets come from a variable or from a file named by that variable with
//     _FILE (or the flag with -file), never from a flag: command lines show in
//     process lists. For the same reason a URL flag with credentials is refused.
//   - Errors name flag and variable, say what was wanted and show the bad value,
//     secrets excepted.
//
// What belongs here is how text becomes a value and where the text comes from. What
// a value means, and bounds that depend on other values, belong to the Validate of
// the package that uses it. Nothing here is global and nothing reads the
// environment by itself.
package setting
