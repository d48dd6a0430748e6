"""One file per engine of one machine; ``engine`` says what each must do."""
