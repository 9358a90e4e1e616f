#include "control/cli/table.h"

#include <stdlib.h>

struct cell {
	const char *text;
	size_t bytes, runes;
	size_t width; // of its column
};

struct line {
	struct cell *cells; // n of them end with a tab; one more follows
	size_t n;
};

static size_t count(const char *text, char what)
{
	size_t n = 0;
	for (; *text != '\0'; text++)
		n += *text == what;
	return n;
}

static struct cell cell_of(const char *text, size_t bytes)
{
	struct cell cell = {.text = text, .bytes = bytes};
	for (size_t i = 0; i < bytes; i++)
		cell.runes += ((unsigned char)text[i] & 0xc0) != 0x80; // not within a character
	return cell;
}

// The cells of the line at text; returns where the next line begins, NULL behind the last.
static const char *cut_line(const char *text, struct cell *cells, struct line *out)
{
	*out = (struct line){.cells = cells};
	for (;;) {
		size_t n = strcspn(text, "\t\n");
		*cells++ = cell_of(text, n);
		text += n;
		if (*text != '\t')
			break;
		out->n++;
		text++;
	}
	return *text == '\n' ? text + 1 : NULL;
}

static void set_widths(
	struct line *lines, size_t n, size_t column, size_t min_width, size_t padding)
{
	for (size_t first = 0, end; first < n; first = end + 1) {
		size_t width = min_width;
		for (end = first; end < n && lines[end].n > column; end++) {
			size_t need = lines[end].cells[column].runes + padding;
			width = need > width ? need : width;
		}
		for (size_t i = first; i < end; i++)
			lines[i].cells[column].width = width;
	}
}

static void print_line(FILE *out, const struct line *line)
{
	for (size_t i = 0; i <= line->n; i++) {
		const struct cell *cell = &line->cells[i];
		fwrite(cell->text, 1, cell->bytes, out);
		if (i < line->n)
			fprintf(out, "%*s", (int)(cell->width - cell->runes), "");
	}
}

bool table_print(FILE *out, const char *text, size_t min_width, size_t padding)
{
	size_t n = 0, columns = 0, max = count(text, '\n') + 1;
	struct cell *cells = calloc(max + count(text, '\t'), sizeof(*cells)), *cell = cells;
	struct line *lines = calloc(max, sizeof(*lines));
	bool ok = cells != NULL && lines != NULL;
	while (ok && text != NULL) {
		text = cut_line(text, cell, &lines[n]);
		cell += lines[n].n + 1;
		columns = lines[n].n > columns ? lines[n].n : columns;
		n++;
	}
	for (size_t column = 0; column < columns; column++)
		set_widths(lines, n, column, min_width, padding);
	for (size_t i = 0; i < n; i++) {
		print_line(out, &lines[i]);
		if (i + 1 < n)
			fputc('\n', out);
	}
	free(cells);
	free(lines);
	return ok;
}
