// Writes the man page or the example file to standard output; a test compares them with the
// committed ones. After a change of the key table:
//   ninja -C build config/genman
//   build/config/genman man >docs/man/tailgate.conf.5
//   build/config/genman example >config/tailgate.conf.example
#include "config/config.h"

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "man") == 0)
		config_print_man(stdout);
	else if (argc == 2 && strcmp(argv[1], "example") == 0)
		config_print_example(stdout);
	else
		return fputs("usage: genman man|example\n", stderr), 2;
	return fflush(stdout) == 0 ? 0 : 1;
}
